"""One file a widget. Each draws itself from the moment; none holds data of the run."""
