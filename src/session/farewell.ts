/** How long a guest may take to answer whoever takes leave of it. */
const FAREWELL_MS = 2000;

/** Waits for the work, but not for long for that of a guest that is silent, as when it is paused. */
export async function farewell(work: Promise<unknown>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, FAREWELL_MS);
  });
  await Promise.race([work, late]).finally(() => clearTimeout(timer));
}
