"""geounet: satellite scenes to seamless land-cover maps and polygons."""
