#!/usr/bin/env python3
"""Tests insula dashboard without a browser, on the cluster of with-cluster.sh: what it serves, to which requests it
answers, what it refuses, and what it does when clients or the database are slow.

    dashboard.py INSULA
"""

import sys

sys.dont_write_bytecode = True  # beside the sources
import dashboard_run
import dashboard_safety
import dashboard_views

dashboard_run.begin()
ids = dashboard_views.seed()
dashboard_views.test(ids)
dashboard_safety.test(ids)
sys.exit(dashboard_run.end())
