"""What a person types: ``serve``, ``check`` and ``demo``, one module or package each.

Modules are light to import; what is heavy (TLS, validation, the roles) is imported by the command that needs
it, so that ``gateway --version`` and a mistyped option answer at once.
"""
