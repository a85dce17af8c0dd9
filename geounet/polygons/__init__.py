"""Regions of a class raster become polygons, exact at any size: see ARCHITECTURE.md."""
