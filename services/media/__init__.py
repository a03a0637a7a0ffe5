"""Media: what several media services share. A closed list of modules, as `services.runtime` is."""
