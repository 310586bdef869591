"""Buses. There is one: Service Bus, in Azure or on loopback."""
