import { resolve } from 'node:path';
import { DormouseError, longestRetentionMs } from '@dormouse/core';
import { type GooglePlan, googlePlanOf } from '@dormouse/gcp';
import type { OptionSpec, Options } from './command-line.ts';
import { declaredIn } from './declared.ts';
import { durationOption, projectOf, userFolder } from './settings.ts';
import { UsageError } from './usage-error.ts';

export const googleOptions = {
  project: { type: 'string', value: 'ID', description: 'of Google Cloud (default: GOOGLE_CLOUD_PROJECT)' },
  'project-number': { type: 'string', value: 'N', description: 'its number: part of Cloud Run’s addresses' },
  region: { type: 'string', value: 'NAME', description: 'where it runs: europe-west1' },
  'service-url': {
    type: 'string',
    value: 'URL',
    description: 'where services answer, {service} for the name (default: Cloud Run’s own addresses)',
  },
  retention: {
    type: 'string',
    value: 'DURATION',
    description: 'how long Pub/Sub keeps what is not settled (default 31d, its longest; 7d for its emulator)',
  },
} as const satisfies Record<string, OptionSpec>;

/** Of a system's file, or of the project's. @throws UsageError */
export async function googlePlan(file: string | undefined, options: Options): Promise<GooglePlan> {
  const project = option(options, 'project', /^[a-z][a-z0-9-]{4,28}[a-z0-9]$/, process.env.GOOGLE_CLOUD_PROJECT);
  const projectNumber = option(options, 'project-number', /^\d+$/);
  const region = option(options, 'region', /^[a-z]+-[a-z]+\d+$/);
  const serviceUrl = option(options, 'service-url', /^https?:\/\/[^/?#\s]+$/);
  const manifest = await declaredIn(file === undefined ? projectOf().systemFile : resolve(userFolder(), file));
  try {
    return googlePlanOf(manifest, {
      // What is not told stands as its own name, to be seen and to be replaced.
      project: project ?? 'PROJECT',
      projectNumber: projectNumber ?? 'PROJECT_NUMBER',
      region: region ?? 'REGION',
      serviceUrl,
      retentionMs: retentionOption(options),
    });
  } catch (error) {
    throw mended(error);
  }
}

function option(options: Options, name: keyof typeof examples, form: RegExp, otherwise?: string) {
  const value = options[name] ?? otherwise;
  if (value === undefined) return undefined;
  if (form.test(String(value))) return String(value);
  throw new UsageError(`--${name}: "${value}" is none; ${examples[name]}`);
}

function retentionOption(options: Options): number {
  const retentionMs = durationOption(options, 'retention', '31d');
  if (retentionMs >= 600_000 && retentionMs <= longestRetentionMs) return retentionMs;
  throw new UsageError(`--retention must be 10m to 31d, got "${options.retention}"`);
}

const examples = {
  project: 'use the id of a project: 6 to 30 small letters, digits and hyphens',
  'project-number': 'use the number that `gcloud projects describe ID` shows',
  region: 'use one like europe-west1',
  'service-url': 'use one like https://{service}.example.com, without a path',
};

function mended(error: unknown): unknown {
  return error instanceof DormouseError ? new UsageError(error.message, { cause: error }) : error;
}
