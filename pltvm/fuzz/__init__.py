"""The fuzzer, which finds bugs in enclaves: `pltvm fuzz`.

Executions, from the snapshot back to it
    options     the target and the options of a campaign
    layout      how the bytes of an input reach the enclave
    target      the machine just before the input is read, and executions from there
    execution   the result of one: new coverage, or a problem
    callers     targets that are servers, fed by hostile callers   hosts   enclaves, fed by a hostile host
    harness     targets defined by a Python file
    snapshot    going back, by the machine's own snapshot
    looked      executions under a debugger
    loop        coverage, restore, next input: in C (`native`), or in `turn`
    arena       the memory that these work on
    havoc       changes to bytes                             mutate  changes to whole inputs
Problems
    secret      data that no other party may see             oracles checks of responses and memory
    stack       backtraces                                   explain turns a problem into a finding
    checker     reads reports of the memory checker
A campaign
    results     the results, as plain data
    trace       finds compared values                        compare makes inputs of them
    dictionary  words for inputs                              record  seeds from a run of other programs
    worker      one round                                    pool    rounds in processes, `cluster` on Dask
    stopping    handles Ctrl-C
    campaign    rounds on a growing corpus                   status  shows progress, for users and programs
    store       the output folder, in AFL++'s form (`afl_files`), at `paths`
    cover       blocks that a corpus reaches, for `pltvm.coverage`
Afterwards
    corpus      edges of inputs, minimizing a corpus         shorten  minimizing an input
    triage      replays all findings, and groups equal ones
"""
