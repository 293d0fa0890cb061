// The thread in which a system's code is loaded, to see what it declares.
import { dirname } from 'node:path';
import { parentPort, workerData } from 'node:worker_threads';
import { describeSystem } from '@dormouse/local';

try {
  parentPort!.postMessage({ manifest: await describeSystem(workerData, dirname(workerData)) });
} catch (error) {
  parentPort!.postMessage({ problem: (error as Error).message });
}
