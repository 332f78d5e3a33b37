"""Routes for operators: health, metrics, the API's own description."""
