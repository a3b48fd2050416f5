export { ProbeCache } from './probe-cache.js';
