#!/bin/bash
# Extraction as a Slurm job array: one shard and one GPU for each task. Any task may die, wait or run twice.
#
#   sbatch examples/slurm-extract.sh examples/cifar10-mobilenets.yaml
#
# The store must be on a file system that all nodes share, or s3://... . To run some shards again: --array=3,7 (the
# number of shards below stays as it is). When all are done, `drfarm run STUDY` goes on with the probes.
#SBATCH --job-name=drfarm-extract
#SBATCH --array=1-16
#SBATCH --gpus=1
#SBATCH --cpus-per-task=12
#SBATCH --mem=48G
#SBATCH --time=04:00:00
#SBATCH --requeue
#SBATCH --output=%x-%A-%a.log

set -euo pipefail
N_SHARDS=16
export PYTHONSAFEPATH=1
srun drfarm extract "$1" --shard "${SLURM_ARRAY_TASK_ID}/${N_SHARDS}"
