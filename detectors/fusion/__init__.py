"""Any function from points to boxes as a collaborative detector: late fusion by boxes, early fusion by points."""
