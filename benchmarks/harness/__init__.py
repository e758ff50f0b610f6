"""What a measurement needs: contenders, environments, models, caches."""
