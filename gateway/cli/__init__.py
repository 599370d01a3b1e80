"""What a person types, one module or package for each command.

``serve``, ``check``, ``doctor``, ``demo``, ``tls scan``, ``cert verify`` and its kin run by themselves. The others
speak with a running gateway: ``admin_client`` finds it and calls its admin API, ``connected`` makes a command of a
function that does so.

* ``main``     the command itself, and the table of its subcommands; ``help`` writes help, ``options`` shares options
* ``serve``, ``check`` (``served`` is its table), ``demo``, ``doctor``, ``reload``, ``status``, ``login`` (and logout)
* ``cert``     with ``cert_import`` (``bundles`` finds what belongs together), ``cert_new`` and ``verify``
* ``tls``      with ``tls_scan``; ``ca`` and ``upstream``: they change the configuration, by way of ``rewriting``
* ``target``   which gateway such a command is about; ``new_certificate`` takes the place of others, ``in_service`` asks
  what is served afterwards, ``file_settings`` says what a file comes to that no gateway runs
* ``domain``, ``admin``, ``kms``, ``secrets``
* ``access``   the options that say which gateway, and as whom; ``address`` finds it, ``trust`` says whom to believe,
  ``sessions`` keeps who is logged in, ``failures`` is what can go wrong on the way
* ``configuration_file`` which one a command reads; ``variables`` names what is read from the environment
* ``layout``   how answers look

Modules are light to import. What is heavy (TLS, validation, the roles) is imported where it runs, and a command's
module when the command is asked for, so that ``--help`` and a mistyped option answer at once;
``tests/unit/cli/test_help.py`` names what they may not import.
"""
