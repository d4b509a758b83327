"""Beginnings of what a site adds: a topology with a case that passes."""
