"""HTTP in and out: routes, bodies, errors, pictures. Nothing here knows arrays or graphs."""
