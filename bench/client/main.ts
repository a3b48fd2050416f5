/* The process that measures: nothing else runs in it, and it may be kept on one CPU. */
import { serve } from '../worker.js';
import { answer } from './answer.js';

serve(answer);
