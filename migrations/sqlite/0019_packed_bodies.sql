-- From here on bodies of deliveries are kept compressed where that is worth it: most of what a delivery
-- costs is copying it into the log, out again when it is claimed, and into the file. A roasd that does
-- not know how must not open the file any more, and the number of this step sees to that. Rows that are
-- there stay as they are.

select 1;
