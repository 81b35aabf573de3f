"""Comparison of methods: tables with the spread between seeds, parameter scaling, and tasks added one by one."""
