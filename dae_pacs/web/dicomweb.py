"""DICOMweb: all its routes, below /dicom-web (PS3.18)."""

from starlette.routing import BaseRoute

from dae_pacs.web import qido, stow, wado

ROUTES: list[BaseRoute] = [*stow.ROUTES, *qido.ROUTES, *wado.ROUTES]
