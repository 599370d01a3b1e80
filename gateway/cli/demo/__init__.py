"""``gateway demo``: throw-away certificates, two upstream apps, a configuration, and the gateway itself."""
