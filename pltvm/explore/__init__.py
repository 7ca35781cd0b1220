"""Schedules explored: the same program, run under many of them, until one fails.

campaign    runs under schedule after schedule, until something is found or the budget is over
strategies  which schedule comes next: random, PCT, preemptions at points that matter
findings    what is told of a failure; look: the races of one run
subject     what is run: enclaves from a snapshot; hosts: a host program
shrink      the steps of a failing schedule that matter
races       two accesses with no order between them
accesses    where chains touch what others touch: the points
"""
