"""img2dataset over a list of URLs; run by the interpreter that has it, so it imports little.

python peer.py URLS.parquet OUTPUT SAMPLES_PER_SHARD PROCESSES THREADS
"""

from __future__ import annotations

import sys

from img2dataset import download

if __name__ == "__main__":
    urls, output, per_shard, processes, threads = sys.argv[1:]
    download(
        url_list=urls,
        input_format="parquet",
        url_col="url",
        caption_col="text",
        output_folder=output,
        output_format="webdataset",
        processes_count=int(processes),
        thread_count=int(threads),
        number_sample_per_shard=int(per_shard),
        image_size=256,
        resize_mode="keep_ratio",
        resize_only_if_bigger=True,
        encode_format="jpg",
        encode_quality=95,
        timeout=10,
        retries=2,
        compute_hash="sha256",
        enable_wandb=False,
    )
