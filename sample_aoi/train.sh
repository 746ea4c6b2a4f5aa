#!/usr/bin/env bash
# Train the models of the sample area, of Sentinel-2 and of EMIT: on simulated fields of other landscapes (other seeds),
# of the same region and year. The scenes are simulated in a scratch folder, sampled and dropped.
# Both by default; 'train.sh emit' or 'train.sh sentinel-2' trains one.
set -euo pipefail
cd "$(dirname "$0")/.."
cropglobe=${CROPGLOBE:-.venv/bin/cropglobe}
work=${WORK:-build/sample-model}
mkdir -p "$work"
only=${1:-both}
seeds=(101 102 103 104 105 106 107 108)

simulate() { # sensor, seed, more options: scenes of a landscape
    "$cropglobe" simulate --sensor "$1" --seed "$2" --year 2023 --out "$work/scenes-$2" "${@:3}"
}

sample() { # sensor, seed, catalog, more options: samples of its fields; the scenes are dropped
    "$cropglobe" samples --sensor "$1" --aoi "$work/scenes-$2/aoi.geojson" --catalog "$3" \
        --labels "$work/scenes-$2/fields.geojson" --year 2023 --seed "$2" --out "$work/samples-$1-$2" "${@:4}"
    rm -r "$work/scenes-$2"
    parts+=(--samples "$work/samples-$1-$2/samples.zarr")
}

if [ "$only" != emit ]; then
    parts=()
    for seed in "${seeds[@]}"; do
        simulate sentinel-2 "$seed" --full-year
        sample sentinel-2 "$seed" "$work/scenes-$seed/catalog.json" --cap-per-field 6 --tile-size 128
    done
    "$cropglobe" train "${parts[@]}" --augment none --epochs 8 --batch-size 64 --learning-rate 0.001 --schedule cosine \
        --out sample_aoi/model
fi
if [ "$only" != sentinel-2 ]; then
    parts=()
    for seed in "${seeds[@]}"; do
        simulate emit "$seed"
        sample emit "$seed" "$work/scenes-$seed" --inner-buffer 30
    done
    "$cropglobe" train "${parts[@]}" --epochs 60 --batch-size 64 --learning-rate 0.001 --schedule cosine \
        --out sample_aoi/model_emit
fi
