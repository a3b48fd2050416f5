/** Receives one short line, in the present tense, whenever a step that may take long begins. */
export type Progress = (step: string) => void;

/** Drops progress. */
export const silent: Progress = () => {};
