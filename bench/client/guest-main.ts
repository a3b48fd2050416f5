/* The process that measures, in a guest. */
import { serveLines } from '../worker.js';
import { answer } from './answer.js';

await serveLines(answer);
