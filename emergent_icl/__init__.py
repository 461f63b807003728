__version__ = "0.0.1"

import os

if os.environ.get('EMERGENT_ICL_TYPECHECK'):  # shapes and types of every call, for tests
    from jaxtyping import install_import_hook

    install_import_hook('emergent_icl', 'beartype.beartype')
