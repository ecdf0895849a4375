"""Slots: what stays from one run to the next, since starting it costs more than many a training of a trial.

A run of a sweep is trained in processes of its own, which end with it. What they are forked from stays:

=====================  ==========================================  ================================================
process                what it does                                lasts as long as
=====================  ==========================================  ================================================
Tune's actor           takes runs from Tune one after the other    Tune has runs for it; see `slot`
Ray Train's workers    hold the machines; say what is trained      the actor, or a minute without a run; see `group`
fork server            has imported torch and pgpc, and waits      its worker, or on a local cluster the driver
training process       trains one run, as one of its ranks         the run; see `training`
=====================  ==========================================  ================================================

Each of them is ended by the system with the one above it. A worker that is lost is replaced by Train, with its group,
and the run goes on from its checkpoint; a lost actor is replaced by Tune.
"""
