"""Instances rented from EC2."""
