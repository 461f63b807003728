__version__ = "0.0.1"

import os

if os.environ.get('EMERGENT_ICL_TYPECHECK'):  # shapes and types of every call, for tests
    from beartype import BeartypeConf, beartype
    from jaxtyping import install_import_hook

    check_types = beartype(conf=BeartypeConf(is_pep484_tower=True))  # an int is a float, too
    install_import_hook('emergent_icl', 'emergent_icl.check_types')
