"""Healthy model families as their libraries draw them, in small configurations.

Each entry makes a model and a batch; weights are random, nothing is downloaded.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from images import images, labels, tokens

Family = Callable[[], tuple[Any, Any]]

# name -> (side of the images, further arguments): the smallest of each family
_TIMM: dict[str, tuple[int, dict[str, Any]]] = {
    "resnet18": (64, {}),
    "resnext50_32x4d": (64, {}),
    "seresnet33ts": (64, {}),
    "res2net50_26w_4s": (64, {}),
    "resnest14d": (64, {}),
    "skresnet18": (64, {}),
    "densenet121": (64, {}),
    "dla34": (64, {}),
    "hrnet_w18_small": (64, {}),
    "efficientnet_b0": (64, {}),
    "mobilenetv2_050": (64, {}),
    "mobilenetv3_small_050": (64, {}),
    "mobilenetv4_conv_small": (64, {}),
    "mnasnet_small": (64, {}),
    "lcnet_050": (64, {}),
    "ghostnet_050": (64, {}),
    "rexnet_100": (64, {}),
    "regnetx_002": (64, {}),
    "regnety_002": (64, {}),
    "repvgg_a0": (64, {}),
    "mobileone_s0": (64, {}),
    "fastvit_t8": (64, {}),
    "inception_v3": (128, {}),
    "xception41": (64, {}),
    "selecsls42": (64, {}),
    "ese_vovnet19b_dw": (64, {}),
    "cspresnet50": (64, {}),
    "darknet17": (64, {}),
    "nf_resnet26": (64, {}),
    "nfnet_l0": (64, {}),
    "skipinit:nf_regnet_b0": (64, {}),
    "convnext_atto": (64, {}),
    "convnextv2_atto": (64, {}),
    "inception_next_atto": (64, {}),
    "convmixer_768_32": (32, {}),
    "vit_tiny_patch16_224": (64, {"img_size": 64, "depth": 6}),
    "deit_tiny_distilled_patch16_224": (64, {"img_size": 64, "depth": 6}),
    "beit_base_patch16_224": (64, {"img_size": 64, "depth": 4, "embed_dim": 192,
                                   "num_heads": 3}),
    "eva02_tiny_patch14_224": (56, {"img_size": 56, "depth": 6}),
    "cait_xxs24_224": (64, {"img_size": 64, "depth": 8}),
    "xcit_nano_12_p16_224": (64, {"img_size": 64}),
    "crossvit_9_240": (240, {}),
    "swin_tiny_patch4_window7_224": (64, {"img_size": 64, "window_size": 4,
                                     "embed_dim": 48, "num_heads": (2, 4, 8, 16)}),
    "swinv2_tiny_window8_256": (64, {"img_size": 64, "window_size": 4,
                                "embed_dim": 48, "num_heads": (2, 4, 8, 16)}),
    "twins_svt_small": (64, {"img_size": 64}),
    "pvt_v2_b0": (64, {}),
    "poolformer_s12": (64, {}),
    "mixer_s32_224": (64, {"img_size": 64}),
    "resmlp_12_224": (64, {"img_size": 64}),
    "gmlp_ti16_224": (64, {"img_size": 64}),
    "coat_tiny": (64, {"img_size": 64}),
    "coatnet_nano_rw_224": (64, {"img_size": 64}),
    "maxvit_rmlp_pico_rw_256": (64, {"img_size": 64}),
    "mobilevit_xxs": (64, {}),
    "mobilevitv2_050": (64, {}),
    "edgenext_xx_small": (64, {}),
    "levit_128s": (64, {"img_size": 64}),
    "efficientformer_l1": (224, {}),
    "efficientvit_b0": (64, {}),
    "repvit_m0_9": (64, {}),
    "hiera_tiny_224": (224, {"embed_dim": 48}),
    "focalnet_tiny_srf": (64, {}),
    "davit_tiny": (64, {"embed_dims": (48, 96, 192, 384)}),
    "nest_tiny": (64, {"img_size": 64}),
    "volo_d1_224": (64, {"img_size": 64}),
    "tiny_vit_5m_224": (64, {}),
    "visformer_tiny": (64, {"img_size": 64}),
    "sequencer2d_s": (64, {"img_size": 64}),
    "mambaout_femto": (64, {}),
    "starnet_s1": (64, {}),
    "rdnet_tiny": (64, {}),
    "hgnetv2_b0": (64, {}),
}  # fmt: skip

_TORCHVISION = ("squeezenet1_1", "googlenet", "inception_v3",
                "shufflenet_v2_x0_5", "mobilenet_v2", "mobilenet_v3_small",
                "mnasnet0_5", "efficientnet_b0", "regnet_x_400mf", "resnet18",
                "densenet121", "swin_t", "convnext_tiny", "maxvit_t")  # fmt: skip

# class of transformers -> (class of its configuration, settings beside the small ones)
_TEXT: dict[str, tuple[str, dict[str, Any]]] = {
    "BertForMaskedLM": ("BertConfig", {}),
    "BertForSequenceClassification": ("BertConfig", {}),
    "RobertaForMaskedLM": ("RobertaConfig", {}),
    "DistilBertForMaskedLM": ("DistilBertConfig", {"dim": 64, "n_heads": 4,
                                                  "n_layers": 3, "hidden_dim": 128}),
    "AlbertForMaskedLM": ("AlbertConfig", {"embedding_size": 32}),
    "ElectraForMaskedLM": ("ElectraConfig", {"embedding_size": 64}),
    "DebertaV2ForMaskedLM": ("DebertaV2Config", {}),
    "MobileBertForMaskedLM": ("MobileBertConfig", {"embedding_size": 32,
                              "intra_bottleneck_size": 32, "true_hidden_size": 32}),
    "FNetForMaskedLM": ("FNetConfig", {}),
    "LongformerForMaskedLM": ("LongformerConfig", {"attention_window": 8}),
    "XLNetLMHeadModel": ("XLNetConfig", {"d_model": 64, "n_layer": 3, "n_head": 4,
                                         "d_inner": 128}),
    "GPT2LMHeadModel": ("GPT2Config", {"n_embd": 64, "n_layer": 4, "n_head": 4,
                                       "n_positions": 64}),
    "GPTNeoForCausalLM": ("GPTNeoConfig", {"num_hidden_layers": 4, "num_heads": 4,
                          "attention_types": [[["global", "local"], 2]]}),
    "GPTNeoXForCausalLM": ("GPTNeoXConfig", {}),
    "GPTJForCausalLM": ("GPTJConfig", {"n_embd": 64, "n_layer": 3, "n_head": 4,
                                       "rotary_dim": 8, "n_positions": 64}),
    "OPTForCausalLM": ("OPTConfig", {"ffn_dim": 128, "word_embed_proj_dim": 64}),
    "BloomForCausalLM": ("BloomConfig", {"n_layer": 3, "n_head": 4}),
    "LlamaForCausalLM": ("LlamaConfig", {"num_key_value_heads": 2}),
    "MistralForCausalLM": ("MistralConfig", {"num_key_value_heads": 2}),
    "MixtralForCausalLM": ("MixtralConfig", {"num_key_value_heads": 2,
                                             "num_local_experts": 4}),
    "Qwen2ForCausalLM": ("Qwen2Config", {"num_key_value_heads": 2}),
    "Qwen3ForCausalLM": ("Qwen3Config", {"num_key_value_heads": 2, "head_dim": 16}),
    "GemmaForCausalLM": ("GemmaConfig", {"num_key_value_heads": 1, "head_dim": 16}),
    "Gemma2ForCausalLM": ("Gemma2Config", {"num_key_value_heads": 2, "head_dim": 16}),
    "PhiForCausalLM": ("PhiConfig", {}),
    "Phi3ForCausalLM": ("Phi3Config", {"num_key_value_heads": 2, "pad_token_id": 0}),
    "FalconForCausalLM": ("FalconConfig", {}),
    "MptForCausalLM": ("MptConfig", {"d_model": 64, "n_heads": 4, "n_layers": 3}),
    "StableLmForCausalLM": ("StableLmConfig", {"num_key_value_heads": 2}),
    "OlmoForCausalLM": ("OlmoConfig", {"num_key_value_heads": 2}),
    "CohereForCausalLM": ("CohereConfig", {"num_key_value_heads": 2}),
    "GraniteForCausalLM": ("GraniteConfig", {"num_key_value_heads": 2}),
    "MambaForCausalLM": ("MambaConfig", {}),
    "RwkvForCausalLM": ("RwkvConfig", {"attention_hidden_size": 64,
                                       "context_length": 64}),
    "T5ForConditionalGeneration": ("T5Config", {"d_model": 64, "d_kv": 16, "d_ff": 128,
                                   "num_layers": 3, "num_heads": 4,
                                   "decoder_start_token_id": 0}),
    "BartForConditionalGeneration": ("BartConfig", {"d_model": 64,
        "encoder_layers": 2, "decoder_layers": 2, "encoder_ffn_dim": 128,
        "decoder_ffn_dim": 128, "encoder_attention_heads": 4,
        "decoder_attention_heads": 4}),
}  # fmt: skip

_TRANSFORMER = {
    "hidden_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4,
    "intermediate_size": 128,
}  # fmt: skip
_VISION: dict[str, tuple[str, dict[str, Any]]] = {
    "ViTForImageClassification": ("ViTConfig", _TRANSFORMER),
    "DeiTForImageClassification": ("DeiTConfig", _TRANSFORMER),
    "Dinov2ForImageClassification": ("Dinov2Config", {**_TRANSFORMER,
                                                      "patch_size": 16}),
    "ConvNextForImageClassification": ("ConvNextConfig", {
        "hidden_sizes": [16, 32, 64, 128], "depths": [2, 2, 2, 2]}),
    "SwinForImageClassification": ("SwinConfig", {"embed_dim": 32, "depths": [2, 2],
        "num_heads": [2, 4], "window_size": 4}),
    "SegformerForImageClassification": ("SegformerConfig", {
        "hidden_sizes": [16, 32, 64, 128]}),
    "ResNetForImageClassification": ("ResNetConfig", {
        "hidden_sizes": [32, 64, 96, 128], "depths": [2, 2, 2, 2],
        "embedding_size": 32, "layer_type": "basic"}),
}  # fmt: skip

_SMALL = {
    "vocab_size": 99, "hidden_size": 64, "num_hidden_layers": 3,
    "num_attention_heads": 4, "intermediate_size": 128, "max_position_embeddings": 64,
    "image_size": 64, "num_labels": 10, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip


_SMALL_IMAGE = {"image_size": 64, "num_labels": 10}
_WITHOUT = {
    "XLNetLMHeadModel": ("max_position_embeddings",),
}


def _of_timm(name: str, side: int, settings: dict[str, Any]) -> Family:
    def make() -> tuple[Any, Any]:
        import timm

        model = timm.create_model(name.split(":")[-1], num_classes=10, **settings)
        return model, (images(side=side), labels())

    return make


def _of_torchvision(name: str) -> Family:
    def make() -> tuple[Any, Any]:
        import torchvision

        side = {"inception_v3": 299, "googlenet": 64, "maxvit_t": 224}
        more = {"init_weights": True} if name in ("googlenet", "inception_v3") else {}
        model = getattr(torchvision.models, name)(num_classes=10, **more)
        count = 4 if name == "maxvit_t" else 8
        return model, (images(count, side.get(name, 64)), labels(count))

    return make


def _of_transformers(
    name: str, config: str, settings: dict[str, Any], kind: str
) -> Family:
    def make() -> tuple[Any, Any]:
        import transformers

        small = _SMALL_IMAGE if kind == "image" else _SMALL
        left_out = _WITHOUT.get(name, ())
        merged = {k: v for k, v in {**small, **settings}.items() if k not in left_out}
        given = getattr(transformers, config)(**merged)
        model = getattr(transformers, name)(given).train()
        if kind == "image":
            return model, {"pixel_values": images(), "labels": labels()}
        ids = tokens()
        target = labels(len(ids)) if "Sequence" in name else ids
        given_inputs = {"input_ids": ids, "labels": target}
        if "Longformer" in name:  # the first token sees all, as it is used
            first = torch.zeros_like(ids)
            first[:, 0] = 1
            given_inputs["global_attention_mask"] = first
        return model, given_inputs

    return make


def _unet() -> tuple[Any, Any]:
    from diffusers import UNet2DModel

    model = UNet2DModel(32, block_out_channels=(32, 64), layers_per_block=1,
                        down_block_types=("DownBlock2D", "AttnDownBlock2D"),
                        up_block_types=("AttnUpBlock2D", "UpBlock2D"))  # fmt: skip
    x = images(8, 32)
    time = torch.randint(0, 1000, (8,))
    return model, ({"sample": x, "timestep": time}, torch.randn_like(x))


def _unet_condition() -> tuple[Any, Any]:
    from diffusers import UNet2DConditionModel

    model = UNet2DConditionModel(
        32, 4, 4, block_out_channels=(32, 64), layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"), cross_attention_dim=32,
        attention_head_dim=8)  # fmt: skip
    x = torch.randn(8, 4, 32, 32)
    given = {"sample": x, "timestep": torch.randint(0, 1000, (8,)),
             "encoder_hidden_states": torch.randn(8, 7, 32)}  # fmt: skip
    return model, (given, torch.randn_like(x))


def _autoencoder() -> tuple[Any, Any]:
    from diffusers import AutoencoderKL

    model = AutoencoderKL(block_out_channels=(32, 64), layers_per_block=1,
                          down_block_types=("DownEncoderBlock2D",) * 2,
                          up_block_types=("UpDecoderBlock2D",) * 2)  # fmt: skip
    x = images(8, 32)
    return model, ({"sample": x}, x)


def _dit() -> tuple[Any, Any]:
    from diffusers import DiTTransformer2DModel

    model = DiTTransformer2DModel(
        num_attention_heads=4, attention_head_dim=16, num_layers=4, sample_size=16,
        patch_size=2)  # fmt: skip
    given = {"hidden_states": torch.randn(8, 4, 16, 16),
             "timestep": torch.randint(0, 1000, (8,)),
             "class_labels": torch.arange(8)}  # fmt: skip
    return model, (given, torch.randn(8, model.out_channels, 16, 16))


def _flux() -> tuple[Any, Any]:
    from diffusers import FluxTransformer2DModel

    model = FluxTransformer2DModel(
        patch_size=1, in_channels=16, num_layers=2, num_single_layers=2,
        attention_head_dim=16, num_attention_heads=4, joint_attention_dim=32,
        pooled_projection_dim=32, axes_dims_rope=(4, 4, 8),
        guidance_embeds=False)  # fmt: skip
    x = torch.randn(8, 16, 16)
    given = {"hidden_states": x, "encoder_hidden_states": torch.randn(8, 6, 32),
             "pooled_projections": torch.randn(8, 32), "timestep": torch.rand(8),
             "img_ids": torch.zeros(16, 3), "txt_ids": torch.zeros(6, 3)}  # fmt: skip
    return model, (given, torch.randn_like(x))


def _vq() -> tuple[Any, Any]:
    from diffusers import VQModel

    model = VQModel(block_out_channels=(32, 64), layers_per_block=1,
                    down_block_types=("DownEncoderBlock2D",) * 2,
                    up_block_types=("UpDecoderBlock2D",) * 2)  # fmt: skip
    x = images(8, 32)
    return model, ({"sample": x}, x)


FAMILIES: dict[str, Family] = {
    **{f"transformers {n}": _of_transformers(n, *c, "text") for n, c in _TEXT.items()},
    **{
        f"transformers {n}": _of_transformers(n, *c, "image")
        for n, c in _VISION.items()
    },
    "diffusers UNet2DModel": _unet,
    "diffusers UNet2DConditionModel": _unet_condition,
    "diffusers AutoencoderKL": _autoencoder,
    "diffusers VQModel": _vq,
    "diffusers DiTTransformer2DModel": _dit,
    "diffusers FluxTransformer2DModel": _flux,
    **{f"torchvision {n}": _of_torchvision(n) for n in _TORCHVISION},
    **{f"timm {n.split(':')[-1]}": _of_timm(n, *c) for n, c in _TIMM.items()},
}
