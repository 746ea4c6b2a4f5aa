#!/usr/bin/env bash
# Train the model of the sample area: on simulated fields of other landscapes (other seeds), of the same region and
# year. The scenes are simulated in a scratch folder, sampled and dropped.
set -euo pipefail
cd "$(dirname "$0")/.."
cropglobe=${CROPGLOBE:-.venv/bin/cropglobe}
work=${WORK:-build/sample-model}
mkdir -p "$work"
parts=()
for seed in 101 102 103 104 105 106 107 108; do
    "$cropglobe" simulate --seed "$seed" --year 2023 --full-year --out "$work/scenes-$seed"
    "$cropglobe" samples --aoi "$work/scenes-$seed/aoi.geojson" --catalog "$work/scenes-$seed/catalog.json" \
        --labels "$work/scenes-$seed/fields.geojson" --year 2023 --cap-per-field 6 --seed "$seed" \
        --tile-size 128 --out "$work/samples-$seed"
    rm -r "$work/scenes-$seed"
    parts+=(--samples "$work/samples-$seed/samples.zarr")
done
"$cropglobe" train "${parts[@]}" --epochs 8 --batch-size 64 --learning-rate 0.001 --schedule cosine \
    --out sample_aoi/model
