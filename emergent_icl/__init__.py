__version__ = "0.0.1"

import os
import warnings

if os.environ.get('IN_TEST') and os.path.exists(f'{__path__[0]}/../settings.ini'):
    # `nbdev_test` in a checkout: nothing that a module or a notebook calls is deprecated
    for kind in (DeprecationWarning, FutureWarning):
        warnings.filterwarnings('error', category=kind, module=r'emergent_icl\b|__main__$')

if os.environ.get('EMERGENT_ICL_TYPECHECK'):  # shapes and types of every call, for tests
    import jax
    import numpy as np
    from beartype import BeartypeConf, FrozenDict, beartype
    from jaxtyping import install_import_hook

    alike = {int: int | np.integer, float: float | int | np.floating | np.integer}
    alike |= {jax.Array: jax.Array | np.ndarray, np.ndarray: np.ndarray | np.generic}
    check_types = beartype(conf=BeartypeConf(hint_overrides=FrozenDict(alike)))
    install_import_hook('emergent_icl', 'emergent_icl.check_types')
