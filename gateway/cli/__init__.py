"""What a person types, one module or package for each command.

``serve``, ``check``, ``doctor``, ``demo``, ``tls scan``, ``cert verify`` and its kin run by themselves. The others
speak with a running gateway: ``admin_client`` finds it and calls its admin API, ``connected`` makes a command of a
function that does so.

Modules are light to import; what is heavy (TLS, validation, the roles) is imported by the command that needs
it, so that ``gateway --version`` and a mistyped option answer at once.
"""
