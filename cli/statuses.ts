/**
 * The exit status of "waep run" when it fails before the program runs. timeout(1) uses the same.
 */
export const RUN_FAILED = 125;
