"""Security switches of the whole system, each turned off once in a copy: the tests that hold it have to go red."""
