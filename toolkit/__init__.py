"""The building blocks of cropglobe: from STAC catalogs to crop-type maps.

``import toolkit as cg`` is fast; each function is imported when it is first used.
"""

import lazy_loader

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
