"""Notifications: what people are told of, once each, in the application and by mail."""
