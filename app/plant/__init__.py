"""A plant: the processes of a site, one by one, and all of them together under a supervisor."""
