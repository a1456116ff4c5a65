"""The *Look* page: original and denoised in one viewport, and what was removed."""
