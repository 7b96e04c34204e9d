"""``python -m offline_capi`` is ``offline-capi``."""

from offline_capi.cli import main

main()
