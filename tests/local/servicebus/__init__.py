"""Tests of the local Service Bus broker."""
