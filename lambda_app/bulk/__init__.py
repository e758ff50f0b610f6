"""Jobs over objects in S3: cut into parts, embedded part by part, counted. Imported by the first of them."""
