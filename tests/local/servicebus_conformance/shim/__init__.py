"""Modules that stand in for those of the SDK's repository; this folder is on the path of Microsoft's tests only."""
