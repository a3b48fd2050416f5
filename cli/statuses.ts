/** The exit status of "waep run" when it fails before the program runs, as that of timeout(1). */
export const RUN_FAILED = 125;
