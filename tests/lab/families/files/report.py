#!/usr/bin/python3
import json, os, sys
json.dump({"pid_one": os.path.exists("/proc/1"), "who": sys.argv[1]}, open("/srv/families/data/report.json", "w"))
print("written")
