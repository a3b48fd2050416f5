/** The longest delay of a timer of Node, in milliseconds. A longer one would be 1 ms. */
export const MAX_TIMER_MS = 2 ** 31 - 1;
