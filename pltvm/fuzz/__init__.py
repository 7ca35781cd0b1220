"""Finding bugs in enclaves: `pltvm fuzz`.

An execution, from the snapshot back to it
    options     what is fuzzed, and how
    layout      how the bytes of an input reach the enclave
    target      the machine just before the input is read, and executions from there
    execution   what one gives: something new, or a problem
    callers     … of a server, fed by hostile callers        hosts   … of an enclave, fed by a hostile host
    harness     … as a Python file says
    snapshot    the way back, by the machine's own snapshot
    looked      the same with a debugger
    loop        coverage, restore, next input: in C (`native`), or as `turn` does it
    arena       the memory that these work on
    havoc       changes to bytes                             mutate  … to whole inputs
What is wrong with it
    secret      what nobody else may see                     oracles what a response or memory shows
    stack       who called whom                              explain a problem as a finding, with a report
    checker     what the memory checker has printed
A campaign
    results     plain data that all of it gives
    trace       values that are compared                     compare inputs made of them
    dictionary  words for inputs                              record  seeds from a run of other programs
    worker      one round                                    pool    rounds in processes, `cluster` … on Dask
    stopping    at Ctrl-C
    campaign    rounds on a growing corpus                   status  how far it is, for people and programs
    store       the output folder, in `afl_files` of AFL++'s form, at `paths`
    cover       blocks that a corpus reaches, for `pltvm.coverage`
After it
    corpus      edges of inputs, the fewest for all edges    shorten  less of an input that does the same
    triage      all findings once more, and which are the same
"""
