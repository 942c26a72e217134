"""How times and numbers are written in German where a template gives no format: in UTC, and with the zone named."""

DATETIME_FORMAT = SHORT_DATETIME_FORMAT = r"j. F Y, H:i:s \U\T\C"
DATE_FORMAT = SHORT_DATE_FORMAT = "j. F Y"
TIME_FORMAT = r"H:i:s \U\T\C"
