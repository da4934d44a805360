"""Float64 NumPy twins, written from the papers; they import no backend."""
